"""What the hostile checks are built from: hostile receivers, letters with what must become of them, the table of behaviours."""
