"""A hub that does not answer is told of in one line."""

import logging

import pytest

from relatum.models.hub import ASKS, SAID, told_once


def test_one_line_for_all_that_tell_of_asking_again(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(ASKS)
    with told_once():
        for number in (1, 2):
            logger.warning("'no name' thrown while requesting HEAD https://a.test/%s", number)
            logger.warning(f"Retrying in {number}s [Retry {number}/5].")
        logger.warning("something else")
    assert caplog.messages.count(SAID) <= 1  # a test before may have heard it
    assert [each for each in caplog.messages if each != SAID] == ["something else"]
    logger.warning("Retrying in 1s [Retry 1/5].")
    assert caplog.messages[-1] == "Retrying in 1s [Retry 1/5]."
