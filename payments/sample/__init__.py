"""Sample payments: a store filled with sessions as a shop in Kenya would have them, of people who do not exist."""
