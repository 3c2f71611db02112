"""audit.html: the page on which a curator looks at suspicious samples and decides about them."""
