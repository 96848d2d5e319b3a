"""Worker processes of this machine: the server they are forked from, and what they run.

They are a folder of their own because a list of executors imports every module beside theirs,
and a process that only waits for its workers should not have to load torch.
"""
