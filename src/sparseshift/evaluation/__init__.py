"""How good a fit is: bounds on unseen cells, effects against observed ones, shared mechanisms."""
