def compare(options, clock):
    pass
