"""The miniature: a rendered world with exact ground truth, in which every claim can be tested on a laptop."""
