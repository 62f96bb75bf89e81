"""What is asked of each region of interest: class and box, mask; and how the regions are drawn and pooled."""
