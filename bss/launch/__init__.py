"""Start trials: worker processes, ranks, nodes, and Kubeflow TrainJobs."""
