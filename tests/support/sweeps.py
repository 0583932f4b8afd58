"""Settings of sweeps that take seconds."""

TINY = (
    *("dataset.image_size=[64,64]", "dataset.train_images=1", "dataset.val_images=1", "dataset.test_images=2"),
    *("device=cpu", "measure.threads=1", "training.epochs=2"),
)
SMALL_SWEEP = ("-m", "pipeline=threshold,oracle", "superpixels=grid", *TINY)
