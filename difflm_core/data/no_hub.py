"""What says that the Hugging Face hub cannot be had, whatever HTTP library its client stands on."""


def no_hub() -> tuple[type[Exception], ...]:
    """What the hub's client raises where the hub is out of reach, does not answer, or has no such file: to be caught
    beside OSError or ConnectionError, whichever fits the call.
    """
    from huggingface_hub import errors

    # `errors.HTTPError` is that of httpx, httpx2 or requests, by the version of the client
    return errors.HTTPError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled
