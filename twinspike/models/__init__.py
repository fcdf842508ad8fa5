"""Networks and drives that studies and tests share."""
