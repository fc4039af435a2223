"""Descriptions of items by a multimodal language model, kept so that nothing is asked twice.

    items     what of an item may be shown          prompts, prompts.toml   how it is asked for
    series    who is asked and how: makes the keys  answers, log            what came back, and where it is kept
    given     answers from a file                   standin                 sentences by a template
    endpoint  a chat URL (reply, retry, pace, secret, picture)              local   a model in this process
    plan      what is still to be asked, and in which order                 estimate, budget   tokens and money
    work      asks, many at a time                  coverage                who has described how much

Nothing heavy is imported before it is used.
"""
