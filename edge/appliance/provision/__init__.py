"""From a claim (who the unit is, where it hangs, where it reports) to a unit that can start.

`claim` reads, `plan` holds the whole of it against the machine and changes nothing, `staging` puts
the files in place, all or none.
"""
