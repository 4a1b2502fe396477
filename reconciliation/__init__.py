"""Reading files of rails and banks, and judging their lines against the books."""
