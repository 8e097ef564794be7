"""Evidence of one payment for a third party, and what checks it without us."""
