"""What strangers, buyers and logins of the database can do to each other, and what stops them."""
