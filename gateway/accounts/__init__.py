"""The accounts of an upstream: who there is, who is free, who rests, whose turn it is.

`roster` reads them from the config · `pool` hands out leases · `waiting` is the line of those who wait for one ·
`selection` says whose turn it is · `health` is the live record of an account · `verdict` says what an error means for
it · `refusal` says why there is no lease · `status` shows it all to people.
"""
