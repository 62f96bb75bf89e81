"""torchvision's Mask R-CNN trained on a COCO-format data set, to compare with: its own defaults, the same images.

python bench/torchvision_train.py TRAIN.json VAL.json OUT --backbone mobilenet_v2 --init mobilenet_v2_imagenet.npz --minutes 60

Needs torch, torchvision and pycocotools, and nothing of this package. The defaults are those of torchvision 0.29's
references/detection: SGD with momentum 0.9 and weight decay 1e-4; a rate of 0.02 for 16 images a step and in proportion for
fewer, warmed up over 1000 steps or the first epoch, a tenth of it after 16 and after 22 of 26 epochs; mirrored images; like
aspect ratios in a batch; 800 pixels for the shorter side. A budget in minutes takes the place of the epochs and has the same
parts. `--minutes` counts by the clock; `--cpu-minutes` this process's processor time, which others' work does not use up.

Beside other work say OMP_WAIT_POLICY=PASSIVE or `--threads 1`. Threads that wait for each other use processor time: a step of
two images of 400 pixels took 11.3 s of it on two busy cores, 5.2 s so.

OUT gets `results.json` (COCO's result format, of VAL), `timings.json` and `weights.pt`; `bench/score_results.py` scores them.

MobileNetV2 comes from a .npz of 52 kernels and biases with batch norm folded in, as TensorFlow trained it: its convolutions of
stride 2 pad at the right and at the bottom alone, so here they do too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch import nn
from torchvision import tv_tensors
from torchvision.models import mobilenet_v2
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms import v2

STAGES = {"3": (24, "0"), "6": (32, "1"), "13": (96, "2"), "18": (1280, "3")}  # the last block of each stride from 4 to 32
STRIDED = (0, 2, 4, 7, 14, 18)  # blocks from which torchvision counts `trainable_layers` of a MobileNet, the last one too
DROPS = (16 / 26, 22 / 26)  # parts of the training after which the rate falls to a tenth
ASPECT_BINS = (2 ** np.linspace(-1, 1, 2 * 3 + 1)).tolist()  # references/detection, aspect-ratio-group-factor 3


def read_mobilenet_v2(path: Path) -> nn.Sequential:
    """MobileNetV2's features with folded weights: every norm is frozen and adds the bias."""
    features = mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d).features
    with np.load(path, allow_pickle=False) as archive:
        kernels = [archive[name] for name in sorted(archive.files) if name.endswith("_kernel")]
        biases = [archive[name] for name in sorted(archive.files) if name.endswith("_bias")]
    convolutions = [module for module in features.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in features.modules() if isinstance(module, FrozenBatchNorm2d)]
    for convolution, norm, kernel, bias in zip(convolutions, norms, kernels, biases, strict=True):
        # (kh, kw, in, out) or, one kernel a channel, (kh, kw, channels, 1), to torch's (out, in, kh, kw)
        order = (2, 3, 0, 1) if convolution.groups > 1 else (3, 2, 0, 1)
        convolution.weight.data.copy_(torch.from_numpy(kernel.transpose(order).astype(np.float32)))
        norm.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
        norm.running_var.fill_(1.0 - norm.eps)  # with weight 1 and mean 0 the identity
    for module in list(features.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                child.padding = (0, 0)
                setattr(module, name, nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), child))
    return features


def build_model(arguments: argparse.Namespace, num_classes: int) -> nn.Module:
    options = {
        "num_classes": num_classes,
        "min_size": arguments.min_size,
        "max_size": arguments.max_size,
        "box_detections_per_img": arguments.max_detections,
        "rpn_anchor_generator": AnchorGenerator(
            tuple((size,) for size in arguments.anchor_sizes), ((0.5, 1.0, 2.0),) * len(arguments.anchor_sizes)
        ),
    }
    if arguments.backbone == "resnet50":
        return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **options)  # all of it learns, with live norms
    features = read_mobilenet_v2(arguments.init)
    for block in features[: STRIDED[len(STRIDED) - arguments.trainable_layers] if arguments.trainable_layers else None]:
        block.requires_grad_(False)
    names = {block: name for block, (_, name) in STAGES.items()}
    backbone = BackboneWithFPN(features, names, [channels for channels, _ in STAGES.values()], out_channels=256)
    return MaskRCNN(backbone, image_mean=[0.5] * 3, image_std=[0.5] * 3, **options)  # colors from -1 to 1


class Images:
    """The images of a COCO file with their objects, those without left out where they are to be learnt from."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.coco = COCO(str(path))
        entries = self.coco.loadImgs(self.coco.getImgIds())
        folders = [folder] if folder else [path.with_suffix(""), path.parent / "images", path.parent]
        self.folder = next(each for each in folders if (each / entries[0]["file_name"]).is_file())
        self.category_ids = sorted(self.coco.getCatIds())
        self.entries = entries

    def read(self, entry: dict) -> torch.Tensor:
        """(3, H, W) uint8."""
        with Image.open(self.folder / entry["file_name"]) as image:
            return v2.functional.pil_to_tensor(ImageOps.exif_transpose(image).convert("RGB"))

    def objects(self, entry: dict) -> list[dict]:
        found = self.coco.loadAnns(self.coco.getAnnIds(entry["id"], iscrowd=False))
        return [each for each in found if each["bbox"][2] > 0 and each["bbox"][3] > 0]

    def learnable(self) -> list[dict]:
        return [entry for entry in self.entries if self.objects(entry)]

    def sample(self, entry: dict, augment: v2.Transform) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        image, objects = self.read(entry), self.objects(entry)
        size = tuple(image.shape[-2:])
        boxes = torch.tensor([each["bbox"] for each in objects], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        boxes[:, 0::2].clamp_(max=size[1])
        boxes[:, 1::2].clamp_(max=size[0])
        masks = torch.from_numpy(np.stack([self.coco.annToMask(each) for each in objects]))
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "labels": torch.tensor([1 + self.category_ids.index(each["category_id"]) for each in objects]),
            "masks": tv_tensors.Mask(masks),
        }
        image, target = augment(tv_tensors.Image(image), target)
        kept = (target["boxes"][:, 2:] > target["boxes"][:, :2]).all(dim=1)
        return image.as_subclass(torch.Tensor), {name: value.as_subclass(torch.Tensor)[kept] for name, value in target.items()}


def make_batches(entries: list[dict], batch_size: int, rng: random.Random) -> Iterator[list[dict]]:
    """Shuffled images round and round, those of like aspect ratios together."""
    waiting: dict[int, list[dict]] = {}
    while True:
        for entry in rng.sample(entries, len(entries)):
            group = waiting.setdefault(bisect_right(ASPECT_BINS, entry["width"] / entry["height"]), [])
            group.append(entry)
            if len(group) == batch_size:
                yield group[:]
                group.clear()


def train(model: nn.Module, data: Images, arguments: argparse.Namespace) -> dict[str, float]:
    entries = data.learnable()
    augment = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float32, scale=True)])
    peak = arguments.learning_rate or (2e-4 if arguments.optimizer == "adam" else 0.02 * arguments.batch_size / 16)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer
    if arguments.optimizer == "adam":
        optimizer = torch.optim.Adam(parameters, lr=peak)
    else:
        optimizer = torch.optim.SGD(parameters, lr=peak, momentum=0.9, weight_decay=1e-4)
    epoch_steps = max(1, len(entries) // arguments.batch_size)
    warm_up = max(1, min(1000, epoch_steps - 1))
    started, started_cpu = time.monotonic(), time.process_time()

    def progress(step: int) -> float:
        if arguments.minutes:
            return (time.monotonic() - started) / (60 * arguments.minutes)
        if arguments.cpu_minutes:
            return (time.process_time() - started_cpu) / (60 * arguments.cpu_minutes)
        return step / (arguments.epochs * epoch_steps)

    model.train()
    step, losses = 0, []
    for batch in make_batches(entries, arguments.batch_size, random.Random(arguments.seed)):
        done = progress(step)
        if done >= 1:
            break
        rate = peak * 0.1 ** bisect_right(DROPS, done) * min(1.0, 0.001 + 0.999 * step / warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, targets = zip(*(data.sample(entry, augment) for entry in batch), strict=True)
        parts = model(list(images), list(targets))
        loss = sum(parts.values())
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            values = {name: part.item() for name, part in parts.items()}
            raise SystemExit(f"The loss is not finite in step {step}, at a rate of {rate:.2g}: {values}.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 20 == 0 or step == 1:
            elapsed = time.monotonic() - started
            print(f"step {step}, {done:.0%}, {elapsed:.0f} s: loss {np.mean(losses[-20:]):.3f}, rate {rate:.2g}", flush=True)
    return {
        "steps": step,
        "epochs": round(step / epoch_steps, 2),
        "train_seconds": round(time.monotonic() - started, 1),
        "train_cpu_seconds": round(time.process_time() - started_cpu, 1),
        "last_loss": float(np.mean(losses[-20:])),
    }


@torch.inference_mode()
def predict(model: nn.Module, images: Images) -> list[dict]:
    """Rows of COCO's result format."""
    model.eval()
    rows = []
    for entry in images.entries:
        (answer,) = model([images.read(entry).float() / 255])
        for box, score, label, mask in zip(answer["boxes"], answer["scores"], answer["labels"], answer["masks"]):
            left, top, right, bottom = box.tolist()
            rle = coco_mask.encode(np.asfortranarray((mask[0] > 0.5).numpy().astype(np.uint8)))
            rows.append(
                {
                    "image_id": entry["id"],
                    "category_id": images.category_ids[label - 1],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": score.item(),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                }
            )
    return rows


def write(path: Path, value: object) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value))
    os.replace(part, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train torchvision's Mask R-CNN with torchvision's own defaults.")
    parser.add_argument("train", type=Path, help="COCO JSON to learn from")
    parser.add_argument("val", type=Path, help="COCO JSON to predict, with the same categories")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="folder of TRAIN's images, where it isn't beside the JSON")
    parser.add_argument("--val-images", type=Path, help="the same of VAL")
    parser.add_argument("--backbone", choices=("mobilenet_v2", "resnet50"), default="mobilenet_v2")
    parser.add_argument("--init", type=Path, help="MobileNetV2's .npz; resnet50 starts from random weights")
    parser.add_argument("--trainable-layers", type=int, choices=range(7), default=3, help="of MobileNetV2's 6; torchvision: 3")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=float, default=26)
    budget.add_argument("--minutes", type=float, help="by the clock, instead of epochs")
    budget.add_argument("--cpu-minutes", type=float, help="of processor time, instead of epochs")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd", help="torchvision: sgd")
    parser.add_argument("--learning-rate", type=float, help="default: 0.02 × batch size / 16, and 2e-4 of adam")
    parser.add_argument("--min-size", type=int, default=800)
    parser.add_argument("--max-size", type=int, default=1333)
    parser.add_argument("--anchor-sizes", type=int, nargs=5, default=(32, 64, 128, 256, 512))
    parser.add_argument("--max-detections", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.backbone == "mobilenet_v2" and arguments.init is None:
        parser.error("--backbone mobilenet_v2 needs --init FILE.npz")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    images, val = Images(arguments.train, arguments.images), Images(arguments.val, arguments.val_images)
    if images.category_ids != val.category_ids:
        parser.error(f"TRAIN has the categories {images.category_ids}, VAL {val.category_ids}")
    model = build_model(arguments, num_classes=1 + len(images.category_ids))
    arguments.out.mkdir(parents=True, exist_ok=True)
    timings: dict[str, object] = {
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **train(model, images, arguments),
    }
    torch.save(model.state_dict(), arguments.out / "weights.pt")
    started, started_cpu = time.monotonic(), time.process_time()
    rows = predict(model, val)
    timings["predict_seconds"] = round(time.monotonic() - started, 1)
    timings["predict_cpu_seconds"] = round(time.process_time() - started_cpu, 1)
    timings["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write(arguments.out / "results.json", rows)
    write(arguments.out / "timings.json", timings)
    print(json.dumps(timings))


if __name__ == "__main__":
    main()
