"""The judge against a real HTTP server that answers right, late, never, in part, wrongly, or not at all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from avatar_verl.config import JudgeReward, RewardConfig
from avatar_verl.rewards.compose import RewardComposer
from avatar_verl.rewards.judge import Judge
from avatar_verl.types import RewardPart, Sample

JudgeMaker = Callable[..., Judge]


def sample(think: str = "A low beep, then the red square moves.", **fields: Any) -> Sample:
    return Sample(f"<think>{think}</think><answer>B</answer>", "B", "free_text", question="Which one?", **fields)


def test_right_reply_is_the_mean_of_its_scores(judge_server: Any, make_judge: JudgeMaker) -> None:
    judge = make_judge()
    assert judge.score_many([sample()]) == [RewardPart(0.75, "judged")]  # (0.5 + 1.0) / 2
    assert (judge.cost.requests, judge.cost.prompt_tokens, judge.cost.completion_tokens) == (1, 100, 20)
    assert judge.cost.seconds > 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (("status", 500), "judge_http_500"),
        (("status", 503), "judge_http_503"),
        (("status", 429), "judge_http_429"),
        (("late", 1.5), "judge_timeout"),
        (("cut_body",), "judge_unreachable"),
        (("half_json",), "judge_bad_reply"),
        (("says", None), "judge_bad_reply"),
    ],
)
def test_passing_fault_is_survived_and_a_lasting_one_is_counted(
    judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any, fault: tuple[Any, ...], reason: str
) -> None:
    maker, *arguments = fault
    bad = misbehaviour[maker](*arguments) if arguments else misbehaviour[maker]
    judge_server.behave = lambda handler, number: (bad if number < 2 else judge_server.right)(handler, number)
    judge = make_judge(timeout_s=0.6 if maker == "late" else 5.0)
    assert judge.score_many([sample()]) == [RewardPart(0.75, "judged")]
    assert (judge.cost.requests, judge.cost.retries) == (3, 2)
    judge_server.behave = bad
    assert judge.score_many([sample("Another thought.")]) == [RewardPart(0.0, reason, present=False)]
    assert judge.cost.requests == 6


def test_client_error_is_not_asked_for_again(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["status"](404)
    assert make_judge().score_many([sample()]) == [RewardPart(0.0, "judge_http_404", present=False)]
    assert len(judge_server.bodies) == 1


def test_retry_after_is_kept(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    busy = misbehaviour["status"](429, Retry_After="0.5")
    judge_server.behave = lambda handler, number: (busy if number == 0 else judge_server.right)(handler, number)
    started = time.monotonic()
    assert make_judge().score_many([sample()])[0].reason == "judged"
    assert time.monotonic() - started >= 0.5


def test_busy_server_does_not_open_the_circuit(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["status"](429)
    judge = make_judge(breaker_failures=2, retries=0)
    reasons = {part.reason for part in judge.score_many([sample(str(i)) for i in range(8)])}
    assert reasons == {"judge_http_429"}
    assert judge.cost.breaker_openings == 0


@pytest.mark.parametrize("silence", ["never", "drip"])
def test_silent_server_costs_a_time_out_and_not_more(judge_server: Any, make_judge: JudgeMaker, silence: str) -> None:
    judge_server.behave = getattr(judge_server, silence)
    started = time.monotonic()
    judge = make_judge(retries=0, timeout_s=0.4)
    assert judge.score_many([sample()]) == [RewardPart(0.0, "judge_timeout", present=False)]
    assert time.monotonic() - started < 3.0  # 0.4 s time-out, and room for a loaded machine


def test_no_server_at_all(make_judge: JudgeMaker) -> None:
    judge = make_judge(endpoint="http://127.0.0.1:9/v1")
    assert judge.score_many([sample()]) == [RewardPart(0.0, "judge_unreachable", present=False)]


def test_dead_judge_never_takes_more_than_the_budget(judge_server: Any, make_judge: JudgeMaker) -> None:
    judge_server.behave = judge_server.never
    judge = make_judge(budget_s=1.0, timeout_s=0.7, breaker_failures=1000, concurrency=2)
    started = time.monotonic()
    parts = judge.score_many([sample(f"thought {i}") for i in range(200)])
    assert time.monotonic() - started < 4.0  # without the budget: 200 * 3 * 0.7 s / 2 = 210 s
    assert not any(part.present for part in parts)
    assert Counter(part.reason for part in parts)["judge_budget"] >= 190


def test_server_that_asks_for_a_long_wait_does_not_get_it(
    judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any
) -> None:
    judge_server.behave = misbehaviour["status"](429, Retry_After="30")
    started = time.monotonic()
    parts = make_judge(budget_s=0.8, timeout_s=0.7).score_many([sample()])
    assert parts == [RewardPart(0.0, "judge_budget", present=False)]
    assert time.monotonic() - started < 5.0


def test_nothing_is_sent_after_the_budget(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["late"](0.2)
    judge = make_judge(budget_s=0.5, timeout_s=0.45, concurrency=1)
    parts = judge.score_many([sample(f"thought {i}") for i in range(20)])
    assert {part.reason for part in parts} <= {"judged", "judge_budget", "judge_timeout"}
    time.sleep(0.5)  # what waits for a slot would go out now
    assert len(judge_server.bodies) <= 4


def test_circuit_opens_on_a_dead_judge_and_closes_when_it_is_back(judge_server: Any, make_judge: JudgeMaker) -> None:
    judge_server.behave = judge_server.never
    judge = make_judge(breaker_failures=3, breaker_cooldown_s=0.5, concurrency=4, retries=0, timeout_s=0.4)
    reasons = Counter(part.reason for part in judge.score_many([sample(f"thought {i}") for i in range(50)]))
    assert reasons == {"judge_timeout": 4, "judge_circuit_open": 46}
    asked = len(judge_server.bodies)
    assert judge.score_many([sample("while it is open")])[0].reason == "judge_circuit_open"
    assert len(judge_server.bodies) == asked
    judge_server.behave = judge_server.right
    time.sleep(0.6)
    assert judge.score_many([sample("back")])[0].reason == "judged"
    assert all(part.reason == "judged" for part in judge.score_many([sample(f"more {i}") for i in range(10)]))
    assert judge.cost.breaker_openings == 1


def test_configured_value_on_failure(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["status"](404)
    assert make_judge(on_failure=0.3).score_many([sample()]) == [RewardPart(0.3, "judge_http_404")]


def test_concurrency_limit_holds(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["late"](0.05)
    parts = make_judge(concurrency=3).score_many([sample(f"thought {i}") for i in range(15)])
    assert all(part.reason == "judged" for part in parts)
    assert judge_server.most_at_once == 3


def test_waits_run_side_by_side_in_an_event_loop(judge_server: Any, make_judge: JudgeMaker, misbehaviour: Any) -> None:
    judge_server.behave = misbehaviour["late"](0.2)
    judge = make_judge(concurrency=32)

    async def all_at_once() -> list[list[RewardPart]]:
        return await asyncio.gather(*(judge.score_async([sample(f"thought {i}")]) for i in range(20)))

    started = time.monotonic()
    parts = asyncio.run(all_at_once())
    assert [part.reason for (part,) in parts] == ["judged"] * 20
    assert time.monotonic() - started < 2.0  # one after the other would take 4 s


def test_no_reasoning_earns_zero_without_asking(judge_server: Any, make_judge: JudgeMaker) -> None:
    blank = Sample("<answer>B</answer>", "B", "free_text")
    assert make_judge().score_many([blank]) == [RewardPart(0.0, "no_reasoning")]
    assert not judge_server.bodies


def test_judge_failure_in_a_group_neither_punishes_nor_rewards(
    judge_server: Any, fast_judge: Any, misbehaviour: Any
) -> None:
    good, bad = judge_server.right, misbehaviour["says"]("prose")
    judge_server.behave = lambda handler, number: (bad if "BOOM" in json.dumps(judge_server.bodies[number]) else good)(
        handler, number
    )
    config = RewardConfig.model_validate(
        {
            "weights": {"judge": 1.0, "format": 0.5},
            "judge": {"endpoint": judge_server.url, "concurrency": 1, **fast_judge},
        }
    )
    composer = RewardComposer(config)
    group = [sample("one"), sample("two"), sample("BOOM")]
    final = composer.score_group(group, composer.score_many(group))
    composer.close()
    assert composer.needs_group
    assert [b.total for b in final] == pytest.approx([1.25, 1.25, 1.25])  # 0.75 + 0.5; the mean of the others
    assert final[2].parts["judge"].reason == "judge_prose"


def _score_until_cancelled(judge: Judge) -> None:
    with pytest.raises(concurrent.futures.CancelledError):
        judge.score_many([sample("x")])


def test_nothing_is_left_behind_after_close(judge_server: Any, fast_judge: Any) -> None:
    judge = Judge(JudgeReward.model_validate({"endpoint": judge_server.url, **fast_judge}))
    judge.score_many([sample()])
    judge_server.behave = judge_server.never
    waiting = threading.Thread(target=_score_until_cancelled, args=(judge,))
    waiting.start()
    time.sleep(0.1)
    judge.close()
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "avatar-judge"]
