"use strict";
// The button that overrides the system's colours; the choice is kept where the browser lets a page keep one.
(() => {
  const SCHEMES = [["light dark", "system"], ["light", "light"], ["dark", "dark"]], theme = document.getElementById("theme");
  const kept = { get: () => { try { return +(localStorage.getItem("board-colours") ?? 0); } catch { return 0; } },
                 set: (v) => { try { localStorage.setItem("board-colours", v); } catch { /* a page without storage forgets */ } } };
  let scheme = SCHEMES[kept.get()] ? kept.get() : 0;
  const paint = () => { document.documentElement.style.colorScheme = SCHEMES[scheme][0]; theme.textContent = `Colours: ${SCHEMES[scheme][1]}`; };
  theme.addEventListener("click", () => { scheme = (scheme + 1) % SCHEMES.length; kept.set(scheme); paint(); });
  paint();
})();
