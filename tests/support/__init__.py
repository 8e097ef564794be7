"""What tests share: databases, instances, proxies, clients."""
