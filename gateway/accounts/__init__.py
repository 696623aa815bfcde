"""The accounts of an upstream: who is free, who rests, whose turn it is.

`pool` hands out leases · `selection` says whose turn it is · `health` is the live record of an account · `verdict` says
what an error means for it · `refusal` says why there is no lease · `status` shows it all to people.
"""
