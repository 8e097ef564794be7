"""M-Pesa's books against ours: C2B, Pull and statements, matched and allocated."""
