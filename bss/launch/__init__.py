"""How trainings are started: worker processes, ranks, nodes, and TrainJobs of Kubeflow."""
