"""From detections to what people keep: overlays, label maps, COCO results, tables, tracks."""
