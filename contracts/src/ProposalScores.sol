// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IScoredDao} from "./IScoredDao.sol";

/**
 * @title The scores of one DAO's proposals, each with the Merkle root of the steps that led to it.
 * @notice A scorer submits a proposal's score once a round, after voting has ended. When `quorum` scorers have
 * submitted the same status, score and root in one round, that verdict is final and never changes (invariant S1).
 * Later and differing submissions stay on the record and change nothing.
 */
contract ProposalScores is AccessControlDefaultAdminRules, Pausable {
    using Checkpoints for Checkpoints.Trace256;

    /// @dev `None` marks what was never submitted and is itself refused.
    enum Status {
        None,
        Scored,
        NoVotes
    }

    /// @dev One verdict, as `submitScores` takes it.
    struct Submission {
        uint256 proposalId;
        uint8 status;
        int32 score;
        bytes32 root;
    }

    /// @dev One leaf of the tree of steps. The order of its fields is the order in which they are hashed.
    struct Step {
        bytes32 domain;
        uint256 index;
        uint256 count;
        string functionName;
        uint256 version;
        bytes32 inputHash;
        bytes32 outputHash;
    }

    struct Record {
        uint8 status;
        int32 score;
        uint48 submittedAt;
        bytes32 root;
    }

    /// @dev The submission that completed the quorum; its record holds the verdict.
    struct Finality {
        address scorer;
        uint32 round;
        uint48 finalizedAt;
    }

    bytes32 public constant SCORER_ROLE = keccak256("SCORER_ROLE");

    /// @notice Scores are signed basis points: from -10,000 (all against) to 10,000 (all for).
    int32 public constant MAX_SCORE = 10_000;

    /// @notice Rounds are counted from here.
    uint32 public constant FIRST_ROUND = 1;

    /// @notice The DAO whose proposals are scored here, and whose clock is read.
    IScoredDao public immutable dao;

    /// @notice How many scorers must submit the same verdict in one round.
    uint32 public immutable quorum;

    /// @notice How long, in seconds, an agreed verdict may be challenged before it is final.
    uint48 public immutable challengeWindow;

    Checkpoints.Trace256 private _policies;
    mapping(uint256 proposalId => mapping(uint32 round => mapping(address scorer => Record))) private _records;
    mapping(uint256 proposalId => mapping(uint32 round => mapping(bytes32 verdict => uint32))) private _agreeing;
    mapping(uint256 proposalId => Finality) private _finalities;

    event ScoreSubmitted(
        uint256 indexed proposalId,
        address indexed scorer,
        uint32 round,
        uint8 status,
        int32 score,
        bytes32 root
    );
    event ScoreFinalized(uint256 indexed proposalId, uint32 round, uint8 status, int32 score, bytes32 root);
    event PolicyRegistered(bytes32 indexed policyHash, uint256 timepoint);

    error InvalidDao(address dao);
    error UnsupportedQuorum(uint32 quorum);
    error UnsupportedChallengeWindow(uint48 challengeWindow);
    error InvalidStatus(uint8 status);
    error InvalidScore(uint8 status, int32 score);
    error InvalidRoot();
    error EmptyBatch();
    error VotingNotEnded(uint256 proposalId, uint8 state);
    error ProposalWasCanceled(uint256 proposalId);
    error AlreadySubmitted(
        uint256 proposalId,
        address scorer,
        uint32 round,
        uint8 status,
        int32 score,
        bytes32 root
    );
    error NotFinal(uint256 proposalId);
    error PolicyUnchanged(bytes32 policyHash);

    /**
     * @param dao_ The DAO; it must answer `clock()`.
     * @param admin Holder of the default admin role: grants scorers, registers policies, pauses.
     * @param adminDelay Seconds between the start and the acceptance of a change of admin.
     * @param quorum_ Scorers that must agree, above zero.
     * @param challengeWindow_ Zero: an agreed verdict is final at once.
     */
    constructor(
        IScoredDao dao_,
        address admin,
        uint48 adminDelay,
        uint32 quorum_,
        uint48 challengeWindow_
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        if (address(dao_).code.length == 0) revert InvalidDao(address(dao_));
        if (quorum_ == 0) revert UnsupportedQuorum(quorum_);
        // There is no way to challenge a verdict yet: a window would promise one.
        if (challengeWindow_ != 0) revert UnsupportedChallengeWindow(challengeWindow_);
        dao_.clock();
        dao = dao_;
        quorum = quorum_;
        challengeWindow = challengeWindow_;
    }

    // ---- Submitting ------------------------------------------------------------------------------------------------

    /**
     * @notice Submits the sender's verdict on one proposal.
     * @param status 1 scored, 2 no counted votes for or against.
     * @param score Signed basis points; zero with status 2.
     * @param root Root of the Merkle tree of the committed steps.
     */
    function submitScore(
        uint256 proposalId,
        uint8 status,
        int32 score,
        bytes32 root
    ) external onlyRole(SCORER_ROLE) whenNotPaused {
        _submit(proposalId, status, score, root);
    }

    /// @notice Submits several verdicts, all or none.
    function submitScores(Submission[] calldata submissions) external onlyRole(SCORER_ROLE) whenNotPaused {
        if (submissions.length == 0) revert EmptyBatch();
        for (uint256 i = 0; i < submissions.length; ++i) {
            Submission calldata submission = submissions[i];
            _submit(submission.proposalId, submission.status, submission.score, submission.root);
        }
    }

    // ---- Reading ---------------------------------------------------------------------------------------------------

    /// @notice Whether the proposal has a verdict that never changes. Act on nothing else.
    function isFinal(uint256 proposalId) public view returns (bool) {
        return _finalities[proposalId].scorer != address(0);
    }

    /// @notice The final verdict; reverts while there is none, so that nobody mistakes "not yet" for a score of zero.
    function scoreOf(
        uint256 proposalId
    ) external view returns (uint8 status, int32 score, bytes32 root, uint32 round, uint48 finalizedAt) {
        Finality memory finality = _finalities[proposalId];
        Record storage verdict = _finalRecord(proposalId);
        return (verdict.status, verdict.score, verdict.root, finality.round, finality.finalizedAt);
    }

    /// @notice What a scorer submitted in a round; status 0 if nothing. Times are block timestamps.
    function submissionOf(
        uint256 proposalId,
        uint32 round,
        address scorer
    ) external view returns (uint8 status, int32 score, bytes32 root, uint48 submittedAt) {
        Record storage submitted = _records[proposalId][round][scorer];
        return (submitted.status, submitted.score, submitted.root, submitted.submittedAt);
    }

    /// @notice The round that takes submissions now.
    function roundOf(uint256) public pure returns (uint32) {
        return FIRST_ROUND;
    }

    /**
     * @notice Whether a step is a leaf of the final root. The whole leaf is given and hashed here: a bare hash would
     * let an inner node of the tree pass for a leaf. Reverts while the proposal has no final verdict.
     */
    function verifyStep(
        uint256 proposalId,
        bytes32[] calldata proof,
        Step calldata step
    ) external view returns (bool) {
        bytes32 root = _finalRecord(proposalId).root;
        if (step.domain != domainOf(proposalId) || step.index >= step.count) return false;
        return MerkleProof.verifyCalldata(proof, root, _leaf(step));
    }

    /// @notice What every leaf of a proposal's tree carries: where the score belongs and by which rule it was made.
    function domainOf(uint256 proposalId) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), address(dao), proposalId, policyOf(proposalId)));
    }

    // ---- Policy ----------------------------------------------------------------------------------------------------

    /**
     * @notice Registers the scoring policy of the proposals whose snapshot lies after this timepoint of the DAO's
     * clock. Zero returns to "any policy".
     */
    function registerPolicy(bytes32 policyHash_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (policyHash_ == policyHash()) revert PolicyUnchanged(policyHash_);
        uint48 timepoint = dao.clock();
        _policies.push(timepoint, uint256(policyHash_));
        emit PolicyRegistered(policyHash_, timepoint);
    }

    /// @notice The policy registered last.
    function policyHash() public view returns (bytes32) {
        return bytes32(_policies.latest());
    }

    /**
     * @notice The policy that binds a proposal, zero if any will do: the one registered last before its snapshot.
     * What is registered in the very timepoint of the snapshot does not bind: the rule is older than the proposal.
     */
    function policyOf(uint256 proposalId) public view returns (bytes32) {
        uint256 snapshot = dao.proposalSnapshot(proposalId);
        return snapshot == 0 ? bytes32(0) : bytes32(_policies.upperLookupRecent(snapshot - 1));
    }

    // ---- Emergency stop --------------------------------------------------------------------------------------------

    /// @notice Stops submissions; what is final stays final and readable.
    function pause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _pause();
    }

    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    // ---- Inner -----------------------------------------------------------------------------------------------------

    function _submit(uint256 proposalId, uint8 status, int32 score, bytes32 root) private {
        _checkVerdict(status, score, root);
        uint32 round = roundOf(proposalId);
        Record storage submitted = _records[proposalId][round][msg.sender];
        if (submitted.status != uint8(Status.None)) {
            revert AlreadySubmitted(
                proposalId,
                msg.sender,
                round,
                submitted.status,
                submitted.score,
                submitted.root
            );
        }
        _checkEnded(proposalId);
        submitted.status = status;
        submitted.score = score;
        submitted.submittedAt = Time.timestamp();
        submitted.root = root;
        emit ScoreSubmitted(proposalId, msg.sender, round, status, score, root);
        if (!isFinal(proposalId) && _countAgreeing(proposalId, round, submitted) == quorum) {
            _finalities[proposalId] = Finality(msg.sender, round, Time.timestamp());
            emit ScoreFinalized(proposalId, round, status, score, root);
        }
    }

    /// @dev How many scorers agree with the submission just recorded. A quorum of one needs no count in storage.
    function _countAgreeing(uint256 proposalId, uint32 round, Record storage submitted) private returns (uint32) {
        if (quorum == 1) return 1;
        bytes32 verdict = keccak256(abi.encode(submitted.status, submitted.score, submitted.root));
        return ++_agreeing[proposalId][round][verdict];
    }

    function _checkVerdict(uint8 status, int32 score, bytes32 root) private pure {
        if (status == uint8(Status.None) || status > uint8(Status.NoVotes)) revert InvalidStatus(status);
        bool beyond = score < -MAX_SCORE || score > MAX_SCORE;
        if (beyond || (status == uint8(Status.NoVotes) && score != 0)) revert InvalidScore(status, score);
        if (root == bytes32(0)) revert InvalidRoot();
    }

    /// @dev Asks the DAO for its own word, because a deadline may be extended and a vote may end before it.
    function _checkEnded(uint256 proposalId) private view {
        uint8 state = dao.state(proposalId);
        if (state <= uint8(IGovernor.ProposalState.Active)) revert VotingNotEnded(proposalId, state);
        if (state == uint8(IGovernor.ProposalState.Canceled)) revert ProposalWasCanceled(proposalId);
    }

    function _finalRecord(uint256 proposalId) private view returns (Record storage) {
        Finality memory finality = _finalities[proposalId];
        if (finality.scorer == address(0)) revert NotFinal(proposalId);
        return _records[proposalId][finality.round][finality.scorer];
    }

    /// @dev The leaf of OpenZeppelin's StandardMerkleTree: hashed twice, over the values and not over the struct.
    function _leaf(Step calldata step) private pure returns (bytes32) {
        bytes memory values = abi.encode(
            step.domain,
            step.index,
            step.count,
            step.functionName,
            step.version,
            step.inputHash,
            step.outputHash
        );
        return keccak256(bytes.concat(keccak256(values)));
    }
}
