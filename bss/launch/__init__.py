"""Start trainings: worker processes, ranks, nodes, and Kubeflow TrainJobs."""
