"""What tests share: databases, ports, and the people in them."""
