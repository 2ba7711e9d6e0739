"""The process on the robot: control loop, policy runner, recorder. Runs without the training code."""
