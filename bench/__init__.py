"""gnn-vs-cnn: what segmenting a graph of superpixels costs and saves against a tiled U-Net."""
