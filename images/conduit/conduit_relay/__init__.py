"""A relay server that shows one Conduit data file, live, in a web page.

It takes the command line of LLNL Conduit's `conduit_relay_node_viewer` and answers the same web
API. Encryption and passwords belong to the gateway in front of it.
"""
