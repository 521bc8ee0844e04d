"""What finished runs say of single test images: `files` on disk, made by `run`."""
