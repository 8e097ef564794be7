"""Money that M-Pesa tells of, in whichever channel, brought to the attempt that it answers."""
