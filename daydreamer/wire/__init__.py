"""Messages, link, journal and weight packing. Imports numpy, msgpack, zmq and small codecs only."""
