// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IScoreRegistry} from "./IScoreRegistry.sol";
import {ScorerSet} from "./ScorerSet.sol";

/**
 * @title What scorers submit, round by round, until `quorum` of them agree.
 * @notice Without rounds (`roundWindow` of zero) there is one round, without a beginning or an end, open to whoever
 * holds the role; the first submission is final. With rounds a round begins with its first submission, commitment or
 * {openRound}, and whoever held the role before that second is in its set. When it times out anybody may open
 * the next one, up to `roundsMax`. A round takes submissions until the next one is opened, so nothing is lost where
 * nobody does.
 */
abstract contract ScoreRounds is IScoreRegistry, ScorerSet, Pausable {
    /// @dev `None` marks what was never submitted and is itself refused.
    enum Status {
        None,
        Scored,
        NoVotes
    }

    /// @dev `Agreed` may be challenged; `Disputed` was challenged in the last round and waits for the admin.
    enum Stage {
        Open,
        Agreed,
        Disputed,
        Final
    }

    /**
     * @dev The rules of rounds; durations in seconds, the bond in wei.
     * @param roundsMax Rounds before the admin resolves.
     * @param roundWindow Time after which a round without an agreement is over, and time that the admin has to
     * resolve a dispute. Zero: no rounds.
     * @param commitWindow The first part of a round, in which scorers commit; the verdicts are revealed after it.
     * Zero: no commitments, verdicts are submitted openly.
     * @param bond What a challenge costs; it is returned if the final verdict is another one.
     * @param bondReceiver Who is credited with the bonds of challenges that did not change the verdict.
     */
    struct Rules {
        uint32 roundsMax;
        uint48 roundWindow;
        uint48 commitWindow;
        uint256 bond;
        address bondReceiver;
    }

    /// @dev A verdict, and the hash of the policy under which it was made: zero where none binds the proposal.
    struct Submission {
        uint256 proposalId;
        uint8 status;
        int32 score;
        bytes32 root;
        bytes32 policy;
    }

    struct Record {
        uint8 status;
        int32 score;
        uint48 submittedAt;
        bytes32 root;
    }

    struct Round {
        uint32 number;
        uint48 startedAt;
    }

    /// @dev The submission that completed the quorum, or the admin's; its record holds the verdict.
    struct Agreement {
        address scorer;
        uint32 round;
        uint48 reachedAt;
        Stage stage;
    }

    /// @notice Scores are signed basis points: from -10,000 (all against) to 10,000 (all for).
    int32 public constant MAX_SCORE = 10_000;

    /// @notice Rounds are counted from here.
    uint32 public constant FIRST_ROUND = 1;

    /// @notice The most rounds that a registry may have: finality looks at each one's challenge.
    uint32 public constant ROUNDS_LIMIT = 16;

    /// @dev No window is longer: whoever waits for its end must live to see it, and no sum of times overflows.
    uint48 internal constant WINDOW_LIMIT = 365 days;

    /// @notice How many scorers must submit the same verdict in one round.
    uint32 public immutable quorum;

    /// @notice How long, in seconds, an agreed verdict may be challenged before it is final.
    uint48 public immutable challengeWindow;

    /// @notice Rounds before the admin resolves.
    uint32 public immutable roundsMax;

    /// @notice Seconds after which a round without an agreement is over; zero where there are no rounds.
    uint48 public immutable roundWindow;

    mapping(uint256 proposalId => mapping(uint32 round => mapping(address scorer => Record))) internal _records;
    mapping(uint256 proposalId => Agreement) internal _agreements;
    mapping(uint256 proposalId => Round) internal _rounds;
    mapping(uint256 proposalId => mapping(uint32 round => mapping(bytes32 verdict => uint32))) private _agreeing;

    event ScoreSubmitted(
        uint256 indexed proposalId,
        address indexed scorer,
        uint32 round,
        uint8 status,
        int32 score,
        bytes32 root
    );
    event ScoreAgreed(
        uint256 indexed proposalId,
        uint32 round,
        uint8 status,
        int32 score,
        bytes32 root,
        uint48 challengeableUntil
    );
    event ScoreFinalized(uint256 indexed proposalId, uint32 round, uint8 status, int32 score, bytes32 root);
    event RoundOpened(uint256 indexed proposalId, uint32 round, uint256 scorers);

    error UnsupportedQuorum(uint32 quorum);
    error UnsupportedRounds(uint32 roundsMax, uint48 roundWindow);
    error InvalidStatus(uint8 status);
    error InvalidScore(uint8 status, int32 score);
    error InvalidRoot();
    error AlreadySubmitted(
        uint256 proposalId,
        address scorer,
        uint32 round,
        uint8 status,
        int32 score,
        bytes32 root
    );
    error NotFinal(uint256 proposalId);
    error NotInRound(uint256 proposalId, uint32 round, address account);
    error RoundStillOpen(uint256 proposalId, uint32 round, uint48 until);
    error RoundDecided(uint256 proposalId, uint32 round);
    error RoundsExhausted(uint256 proposalId);
    error NoRounds();

    constructor(uint32 quorum_, uint48 challengeWindow_, Rules memory rules_) {
        if (quorum_ == 0) revert UnsupportedQuorum(quorum_);
        bool lasting = quorum_ > 1 || challengeWindow_ > 0 || rules_.roundsMax > 1;
        // Scorers that never agree, and a dispute, need a way on: a time-out, and somebody who may resolve.
        bool endless = lasting && rules_.roundWindow == 0;
        bool beyond = rules_.roundsMax > ROUNDS_LIMIT || rules_.roundWindow > WINDOW_LIMIT;
        if (rules_.roundsMax == 0 || beyond || endless) {
            revert UnsupportedRounds(rules_.roundsMax, rules_.roundWindow);
        }
        quorum = quorum_;
        challengeWindow = challengeWindow_;
        roundsMax = rules_.roundsMax;
        roundWindow = rules_.roundWindow;
    }

    /**
     * @notice Opens the first round of a proposal whose vote has ended, or the next one when the current one has
     * timed out without an agreement. Anybody may: it decides nothing but when the clock of a round starts.
     */
    function openRound(uint256 proposalId) external whenNotPaused {
        if (!_keepsHistory()) revert NoRounds();
        _checkEnded(proposalId);
        Round memory current = _rounds[proposalId];
        if (current.number == 0) {
            _open(proposalId, FIRST_ROUND);
            return;
        }
        if (_agreements[proposalId].stage != Stage.Open) revert RoundDecided(proposalId, current.number);
        uint48 until = current.startedAt + roundWindow;
        if (Time.timestamp() < until) revert RoundStillOpen(proposalId, current.number, until);
        if (current.number == roundsMax) revert RoundsExhausted(proposalId);
        _open(proposalId, current.number + 1);
    }

    /// @inheritdoc IScoreRegistry
    function isFinal(uint256 proposalId) public view returns (bool) {
        return _agreements[proposalId].stage == Stage.Final;
    }

    /// @notice The round that takes submissions now.
    function roundOf(uint256 proposalId) public view returns (uint32) {
        if (!_keepsHistory()) return FIRST_ROUND;
        uint32 number = _rounds[proposalId].number;
        return number == 0 ? FIRST_ROUND : number;
    }

    /// @notice Whether the account may submit in the current round, or in the first one if none has begun.
    function mayScore(uint256 proposalId, address account) public view returns (bool) {
        if (!_keepsHistory()) return hasRole(SCORER_ROLE, account);
        uint48 startedAt = _rounds[proposalId].startedAt;
        return wasScorer(account, (startedAt == 0 ? Time.timestamp() : startedAt) - 1);
    }

    function _keepsHistory() internal view override returns (bool) {
        return roundWindow != 0;
    }

    function _open(uint256 proposalId, uint32 number) internal {
        uint48 now_ = Time.timestamp();
        _rounds[proposalId] = Round(number, now_);
        emit RoundOpened(proposalId, number, scorersAt(now_ - 1));
    }

    /// @dev Returns the round in which the sender may act now; the first one begins if none has.
    function _enter(uint256 proposalId) internal returns (uint32 round) {
        _refuse(_outside(proposalId));
        return _begin(proposalId);
    }

    function _begin(uint256 proposalId) private returns (uint32) {
        if (_keepsHistory() && _rounds[proposalId].number == 0) _open(proposalId, FIRST_ROUND);
        return roundOf(proposalId);
    }

    /// @dev Records the sender's verdict in the current round, or reverts with what stands against it.
    function _submit(Submission memory submission) internal {
        _refuse(_refusalOf(submission));
        _take(submission);
    }

    /// @dev What stands against the sender's verdict, as the data of a revert; empty if nothing does.
    function _refusalOf(Submission memory submission) internal view returns (bytes memory refusal) {
        uint256 proposalId = submission.proposalId;
        refusal = _misstated(submission.status, submission.score, submission.root);
        if (refusal.length == 0) refusal = _outside(proposalId);
        if (refusal.length == 0) refusal = _repeated(proposalId);
        if (refusal.length == 0) refusal = _unended(proposalId);
        if (refusal.length == 0) refusal = _misruled(proposalId, submission.policy);
    }

    /// @dev Records a verdict against which nothing stands, and what follows if it completes the quorum.
    function _take(Submission memory submission) internal {
        (uint256 proposalId, uint8 status) = (submission.proposalId, submission.status);
        (int32 score, bytes32 root) = (submission.score, submission.root);
        uint32 round = _begin(proposalId);
        Record storage submitted = _records[proposalId][round][msg.sender];
        _write(submitted, status, score, root);
        emit ScoreSubmitted(proposalId, msg.sender, round, status, score, root);
        bool open = _agreements[proposalId].stage == Stage.Open;
        if (open && _countAgreeing(proposalId, round, submitted) == quorum) {
            _agree(proposalId, round, status, score, root);
        }
    }

    /// @dev Without rounds the role alone admits, whichever the proposal.
    function _checkSender() internal view {
        if (!_keepsHistory()) _checkRole(SCORER_ROLE);
    }

    function _outside(uint256 proposalId) private view returns (bytes memory) {
        // Without rounds {_checkSender} has asked, once for all.
        if (!_keepsHistory() || mayScore(proposalId, msg.sender)) return "";
        return abi.encodeWithSelector(NotInRound.selector, proposalId, roundOf(proposalId), msg.sender);
    }

    function _repeated(uint256 proposalId) private view returns (bytes memory) {
        uint32 round = roundOf(proposalId);
        Record storage submitted = _records[proposalId][round][msg.sender];
        if (submitted.status == uint8(Status.None)) return "";
        return
            abi.encodeWithSelector(
                AlreadySubmitted.selector,
                proposalId,
                msg.sender,
                round,
                submitted.status,
                submitted.score,
                submitted.root
            );
    }

    function _write(Record storage record, uint8 status, int32 score, bytes32 root) internal {
        record.status = status;
        record.score = score;
        record.submittedAt = Time.timestamp();
        record.root = root;
    }

    /// @dev Without a window for challenges an agreement is final at once.
    function _agree(uint256 proposalId, uint32 round, uint8 status, int32 score, bytes32 root) private {
        uint48 now_ = Time.timestamp();
        if (challengeWindow == 0) {
            _agreements[proposalId] = Agreement(msg.sender, round, now_, Stage.Final);
            emit ScoreFinalized(proposalId, round, status, score, root);
        } else {
            _agreements[proposalId] = Agreement(msg.sender, round, now_, Stage.Agreed);
            emit ScoreAgreed(proposalId, round, status, score, root, now_ + challengeWindow);
        }
    }

    /// @dev How many scorers agree with the submission just recorded. A quorum of one needs no count in storage.
    function _countAgreeing(uint256 proposalId, uint32 round, Record storage submitted) private returns (uint32) {
        if (quorum == 1) return 1;
        return ++_agreeing[proposalId][round][_hashOf(submitted)];
    }

    function _hashOf(Record storage record) internal view returns (bytes32) {
        return keccak256(abi.encode(record.status, record.score, record.root));
    }

    function _misstated(uint8 status, int32 score, bytes32 root) internal pure returns (bytes memory) {
        if (status == uint8(Status.None) || status > uint8(Status.NoVotes)) {
            return abi.encodeWithSelector(InvalidStatus.selector, status);
        }
        bool beyond = score < -MAX_SCORE || score > MAX_SCORE;
        if (beyond || (status == uint8(Status.NoVotes) && score != 0)) {
            return abi.encodeWithSelector(InvalidScore.selector, status, score);
        }
        return root == bytes32(0) ? abi.encodeWithSelector(InvalidRoot.selector) : bytes("");
    }

    function _finalRecord(uint256 proposalId) internal view returns (Record storage) {
        Agreement memory agreement = _agreements[proposalId];
        if (agreement.stage != Stage.Final) revert NotFinal(proposalId);
        return _records[proposalId][agreement.round][agreement.scorer];
    }
}
