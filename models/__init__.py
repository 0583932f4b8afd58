"""The networks of the comparison: plain numbers in, `torch.nn.Module` out."""
