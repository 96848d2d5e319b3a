"""The Learner contract, and the parts that learners are built from."""
