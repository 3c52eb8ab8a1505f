"""Together's control plane: projects, configs, hardware, endpoints, deployments, traffic."""
