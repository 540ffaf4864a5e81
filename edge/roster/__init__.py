"""Who can be recognised: the encrypted roster file, person numbers and ids, 1:N search."""
