// placeholder until its documents arrive
