"""Laws of the batch that the model trains on."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import read_samples

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.data.batch import make_batch, num_rows
from maskrcnn.data.resize import possible_frames
from maskrcnn.geometry.masks import crop_mask
from maskrcnn.geometry.paste import paste
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.structures import INCOMPLETE, SAID_ABSENT

CONFIG = replace(
    ModelConfig(categories=(Category(1, "a"), Category(2, "b")), image=ImageConfig(short_side=64, long_side=100)),
    mask_head__truth_size=28,
)


def samples(sizes, counts):
    return read_samples(np.random.default_rng(0), sizes, counts)


def test_shapes_kinds_and_padding():
    batch = make_batch(samples([(40, 60), (30, 30)], [3, 20]), CONFIG)
    assert batch.images.shape == (2, 64, 96, 3) and batch.images.dtype == np.uint8
    np.testing.assert_array_equal(batch.sizes, np.array([[64, 96], [64, 64]], np.int32))
    assert batch.boxes.shape == (2, 64, 4) and batch.boxes.dtype == np.float32
    assert batch.labels.shape == (2, 64) and batch.labels.dtype == np.int32
    assert batch.masks.shape == (2, 64, 28, 28) and batch.masks.dtype == np.uint8
    assert batch.crowd.dtype == batch.valid.dtype == bool
    np.testing.assert_array_equal(batch.valid.sum(axis=1), [3, 20])
    np.testing.assert_array_equal(batch.image_ids, [1, 2])
    for field in (batch.boxes, batch.labels, batch.masks, batch.crowd):
        assert not field[~batch.valid].any()


def test_boxes_lie_on_the_resized_image():
    (sample,) = samples([(40, 60)], [6])
    batch = make_batch([sample], CONFIG)
    np.testing.assert_allclose(batch.boxes[0, :6], sample.boxes * 1.6, rtol=1e-6)
    whole = sample.replace(
        boxes=np.array([[0, 0, 53, 37]], np.float32), rles=sample.rles[:1], size=(37, 53), image=sample.image[:37, :53]
    )
    whole = whole.replace(labels=whole.labels[:1], crowd=whole.crowd[:1])
    batch = make_batch([whole], CONFIG)
    np.testing.assert_array_equal(batch.boxes[0, 0], [0, 0, batch.sizes[0, 1], batch.sizes[0, 0]])


def test_boxes_of_a_centred_image_move_with_it():
    config = replace(CONFIG, image__frame="square", image__place="centre")
    (sample,) = samples([(40, 60)], [6])
    corner, centre = make_batch([sample], CONFIG), make_batch([sample], config)
    assert centre.images.shape == (1, 128, 128, 3)
    (height, width), top, left = centre.sizes[0], 32, 16  # 64×96 in 128×128
    np.testing.assert_allclose(centre.boxes[0, :6], corner.boxes[0, :6] + [left, top, left, top], rtol=1e-6)
    np.testing.assert_array_equal(centre.images[0, top : top + height, left : left + width], corner.images[0, :64, :96])
    assert not centre.boxes[~centre.valid].any()


def test_torchvisions_images_stay_floats_in_a_tight_frame():
    config = replace(CONFIG, image__resize="torchvision", image__frame="tight")
    batch = make_batch(samples([(40, 50), (30, 40)], [1, 0]), config)
    assert batch.images.shape == (2, 64, 96, 3) and batch.images.dtype == np.float32
    assert batch.images.max() > 1 and (batch.images % 1).any()  # 0 to 255, not rounded
    np.testing.assert_array_equal(batch.sizes, [[64, 80], [64, 85]])


def test_masks_are_cropped_to_their_boxes_and_paste_back():
    (sample,) = samples([(40, 60)], [6])
    batch = make_batch([sample], CONFIG)
    for row, (rle, box) in enumerate(zip(sample.rles, sample.boxes, strict=True)):
        np.testing.assert_array_equal(batch.masks[0, row], crop_mask(rle, box, 28))
        pasted = np.zeros((40, 60), bool)
        paste(batch.masks[0, row].astype(np.float32), box, out=pasted)
        np.testing.assert_array_equal(pasted, rle_to_mask(rle))  # rectangles survive


def test_crowds_and_labels_keep_their_rows():
    (sample,) = samples([(40, 60)], [3])
    batch = make_batch([sample.replace(crowd=np.array([False, True, False]))], CONFIG)
    np.testing.assert_array_equal(batch.crowd[0, :3], [False, True, False])
    np.testing.assert_array_equal(batch.labels[0, :3], [0, 1, 0])
    np.testing.assert_array_equal(batch.valid[0, :4], [True, True, True, False])


def test_an_image_without_objects_is_a_normal_sample():
    batch = make_batch(samples([(40, 60)], [0]), CONFIG)
    assert batch.images.any() and not batch.valid.any()
    assert batch.boxes.shape == (1, 16, 4)


def test_rows_come_in_few_numbers():
    assert [num_rows(count) for count in (0, 1, 16, 17, 64, 65, 256, 375, 1024, 1025, 2049)] == [
        16, 16, 16, 64, 64, 256, 256, 1024, 1024, 2048, 3072,
    ]  # fmt: skip


def test_an_image_that_changed_its_size_is_named():
    (sample,) = samples([(40, 60)], [1])
    with pytest.raises(ValueError, match=r"1\.png.*\(40, 60\).*\(39, 60\)"):
        make_batch([sample.replace(image=sample.image[1:])], CONFIG)


def test_a_fitted_image_keeps_its_size():
    fitted, free = samples([(40, 60), (30, 30)], [6, 2])
    batch = make_batch([fitted.replace(fitted=True), free], CONFIG)
    np.testing.assert_array_equal(batch.sizes, [[40, 60], [64, 64]])
    np.testing.assert_array_equal(batch.boxes[0, :6], fitted.boxes)
    np.testing.assert_array_equal(batch.images[0, :40, :60], fitted.image)
    assert not batch.images[0, 40:].any()
    floats = make_batch([fitted.replace(fitted=True)], replace(CONFIG, image__resize="torchvision"))
    assert floats.images.dtype == np.float32  # whichever way images come
    np.testing.assert_array_equal(floats.images[0, :40, :60], fitted.image)


def test_images_that_were_cropped_for_a_frame_come_in_it():
    crops = [sample.replace(fitted=True, frame=(96, 96)) for sample in samples([(90, 96), (30, 30)], [6, 2])]
    assert make_batch(crops, CONFIG).images.shape[1:3] == (96, 96)
    mixed = make_batch([crops[1], samples([(30, 30)], [2])[0]], CONFIG).images.shape[1:3]
    assert mixed in possible_frames(CONFIG.image)


def test_a_fitted_image_that_no_frame_holds_is_refused():
    (large,) = samples([(150, 60)], [1])
    with pytest.raises(ValueError, match="No frame holds 150×60"):
        make_batch([large.replace(fitted=True)], CONFIG)


def test_what_lvis_says_of_an_images_classes_is_in_the_batch_where_the_loss_asks():
    first, second = samples([(40, 60), (30, 30)], [1, 1])
    first = first.replace(absent=(1,), incomplete=(0,))
    assert make_batch([first, second], CONFIG).class_marks == ()
    marks = make_batch([first, second], replace(CONFIG, box_head__class_loss="federated")).class_marks
    np.testing.assert_array_equal(marks, np.array([[INCOMPLETE, SAID_ABSENT], [0, 0]], np.uint8))


def test_marks_of_classes_follow_their_labels():
    (sample,) = samples([(40, 60)], [1])
    sample = sample.replace(absent=(1, 2), incomplete=(0,), labels=np.array([0], np.int32)).with_labels([2, -1, 1])
    assert (sample.labels.tolist(), sample.absent, sample.incomplete) == ([2], (1,), (2,))
