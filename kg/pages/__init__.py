"""HTML pages that need nothing but themselves, and the pictures on them."""
