"""The interface of matterport/Mask_RCNN on this package: `Config`, `Dataset` and `MaskRCNN` as users' scripts call them.

Of a script only the imports change:

    from maskrcnn.compat.matterport import Config, modellib, utils   # was: from mrcnn.config import Config, and so on

    class BalloonConfig(Config): ...
    class BalloonDataset(utils.Dataset): ...
    model = modellib.MaskRCNN(mode="training", config=BalloonConfig(), model_dir="logs")
    model.load_weights("mask_rcnn_coco.h5", by_name=True, exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"])
    model.train(dataset_train, dataset_val, learning_rate=0.001, epochs=30, layers="heads")

Names, defaults and answers are that project's; the network, its losses and the reading of data are this package's.
"""

from maskrcnn.compat.matterport import model as modellib
from maskrcnn.compat.matterport import utils, visualize
from maskrcnn.compat.matterport.config import Config
from maskrcnn.compat.matterport.dataset import Dataset
from maskrcnn.compat.matterport.model import MaskRCNN

__all__ = ["Config", "Dataset", "MaskRCNN", "modellib", "utils", "visualize"]
