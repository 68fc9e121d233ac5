"""A naive model of the registry's rounds, written from its description: what moves do, or are refused for."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.bindings.proposal_scores import NO_POLICY, Rules

Verdict = tuple[int, int, bytes]
Named = tuple["Scored", Verdict, bytes]
"""What a scorer submits: a proposal, a verdict, and the policy under which it was made."""
ADMIN_ROUND = 1
"""The admin's verdict counts as that of so many rounds after the last."""


@dataclass
class Scored:
    """One proposal: its life in the DAO, and its course through the rounds."""

    ends_at: int
    policy: bytes = NO_POLICY
    canceled: bool = False
    round: int = 0
    started: int = 0
    stage: str = "OPEN"
    reached: int = 0
    verdict: Verdict | None = None
    verdict_round: int = 0
    records: dict[tuple[int, str], Verdict] = field(default_factory=dict)
    sealed: dict[tuple[int, str], tuple[Verdict, bytes]] = field(default_factory=dict)
    challenges: dict[int, tuple[str, Verdict]] = field(default_factory=dict)

    def unready(self, now: int) -> str | None:
        if self.canceled:
            return "ProposalWasCanceled"
        return "VotingNotEnded" if now <= self.ends_at else None


@dataclass
class Model:
    """The registry. Each method tells the name of the refusal, or None and has changed the model."""

    quorum: int
    window: int
    rules: Rules
    paused: bool = False
    policy: bytes = NO_POLICY
    proposals: list[Scored] = field(default_factory=list)
    memberships: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)
    credits: dict[str, int] = field(default_factory=dict)

    def member(self, account: str, before: int) -> bool:
        known = [held for since, held in self.memberships.get(account, []) if since < before]
        return bool(known) and known[-1]

    def mark(self, account: str, held: bool, now: int) -> None:
        self.memberships.setdefault(account, []).append((now, held))

    def _entered(self, scored: Scored, account: str, now: int) -> str | None:
        started = scored.started or now
        return None if self.member(account, started) else "NotInRound"

    def _begin(self, scored: Scored, number: int, now: int) -> None:
        scored.round, scored.started = number, now

    def submit(self, named: Named, account: str, now: int) -> str | None:
        return self._closed() or self._submit(named, account, now)

    def _closed(self) -> str | None:
        if self.paused:
            return "EnforcedPause"
        return "CommitmentRequired" if self.rules.commit_window else None

    def submit_together(self, batch: list[Named], account: str, now: int) -> str | list[str | None]:
        """Tell what each is refused for, None where it is taken; or the refusal of the whole."""
        closed = self._closed()
        if closed:
            return closed
        if not batch:
            return "EmptyBatch"
        told = [self._submit(named, account, now) for named in batch]
        return told if None in told else "NothingTaken"

    def _submit(self, named: Named, account: str, now: int) -> str | None:
        scored, verdict, policy = named
        outside = self._entered(scored, account, now)
        if outside:
            return outside
        if (max(scored.round, 1), account) in scored.records:
            return "AlreadySubmitted"
        unready = scored.unready(now)
        if unready:
            return unready
        if policy != scored.policy:
            return "WrongPolicy"
        if scored.round == 0:
            self._begin(scored, 1, now)
        scored.records[scored.round, account] = verdict
        alike = [each for (number, _), each in scored.records.items() if number == scored.round]
        if scored.stage == "OPEN" and alike.count(verdict) == self.quorum:
            scored.stage = "AGREED" if self.window else "FINAL"
            scored.reached, scored.verdict, scored.verdict_round = now, verdict, scored.round
        return None

    def commit(self, named: Named, account: str, now: int) -> str | None:
        scored, verdict, policy = named
        if self.paused:
            return "EnforcedPause"
        if not self.rules.commit_window:
            return "CommitmentsUnused"
        outside = self._entered(scored, account, now)
        if outside:
            return outside
        if (max(scored.round, 1), account) in scored.sealed:
            return "AlreadyCommitted"
        if now >= (scored.started or now) + self.rules.commit_window:
            return "CommitWindowOver"
        unready = scored.unready(now)
        if unready is None:
            self._seal(scored, account, (verdict, policy), now)
        return unready

    def _seal(self, scored: Scored, account: str, sealed: tuple[Verdict, bytes], now: int) -> None:
        if scored.round == 0:
            self._begin(scored, 1, now)
        scored.sealed[scored.round, account] = sealed

    def reveal(self, named: Named, account: str, now: int) -> str | None:
        scored, verdict, policy = named
        if self.paused:
            return "EnforcedPause"
        if scored.sealed.get((max(scored.round, 1), account)) != (verdict, policy):
            return "WrongReveal"
        if now < scored.started + self.rules.commit_window:
            return "CommitWindowOpen"
        return self._submit(named, account, now)

    def open_round(self, scored: Scored, now: int) -> str | None:
        if self.paused:
            return "EnforcedPause"
        unready = scored.unready(now)
        if unready:
            return unready
        if scored.round:
            if scored.stage != "OPEN":
                return "RoundDecided"
            if now < scored.started + self.rules.round_window:
                return "RoundStillOpen"
            if scored.round == self.rules.rounds_max:
                return "RoundsExhausted"
        self._begin(scored, scored.round + 1, now)
        return None

    def challenge(self, scored: Scored, account: str, value: int, now: int) -> str | None:
        if scored.stage != "AGREED":
            return "NotAgreed"
        if now >= scored.reached + self.window:
            return "ChallengeWindowOver"
        if value != self.rules.bond:
            return "WrongBond"
        assert scored.verdict is not None
        scored.challenges[scored.verdict_round] = (account, scored.verdict)
        if scored.verdict_round == self.rules.rounds_max:
            scored.stage, scored.reached = "DISPUTED", now
        else:
            next_round = scored.verdict_round + 1
            scored.stage, scored.verdict = "OPEN", None
            self._begin(scored, next_round, now)
        return None

    def until(self, scored: Scored) -> int:
        if scored.stage == "OPEN":
            return scored.started + self.rules.round_window if scored.started else 0
        waits = {"AGREED": self.window, "DISPUTED": self.rules.round_window, "FINAL": 0}
        return scored.reached + waits[scored.stage]

    def finalize(self, scored: Scored, now: int) -> str | None:
        if self.paused:
            return "EnforcedPause"
        if scored.stage not in ("AGREED", "DISPUTED"):
            return "NotAgreed"
        if now < self.until(scored):
            return "ChallengeWindowOpen"
        self._finish(scored, now)
        return None

    def resolve(self, scored: Scored, verdict: Verdict, now: int) -> str | None:
        unready = scored.unready(now)
        if unready:
            return unready
        last = scored.round == self.rules.rounds_max
        timed_out = scored.stage == "OPEN" and last and now >= scored.started + self.rules.round_window
        if scored.stage != "DISPUTED" and not timed_out:
            return "NotResolvable"
        scored.verdict, scored.verdict_round = verdict, self.rules.rounds_max + ADMIN_ROUND
        self._finish(scored, now)
        return None

    def return_bonds(self, scored: Scored) -> str | None:
        if not scored.canceled or scored.stage != "OPEN":
            return "NotCanceled"
        self._settle(scored)
        return None

    def withdraw(self, account: str) -> str | None:
        return None if self.credits.pop(account, 0) else "NothingToWithdraw"

    def _finish(self, scored: Scored, now: int) -> None:
        scored.stage, scored.reached = "FINAL", now
        self._settle(scored)

    def _settle(self, scored: Scored) -> None:
        for account, verdict in scored.challenges.values():
            upheld = scored.stage == "FINAL" and verdict == scored.verdict
            credited = self.rules.bond_receiver if upheld else account
            self.credits[credited] = self.credits.get(credited, 0) + self.rules.bond
        scored.challenges.clear()

    @property
    def held(self) -> int:
        """What the registry must hold, in wei: bonds of open challenges, and credits."""
        open_bonds = sum(len(each.challenges) for each in self.proposals) * self.rules.bond
        return open_bonds + sum(self.credits.values())
