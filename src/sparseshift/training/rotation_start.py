def start_from_rotation(model, train, seed):
    raise NotImplementedError
