// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IScoredDao} from "./IScoredDao.sol";
import {ScoreChallenges} from "./ScoreChallenges.sol";
import {ScoreCommitments} from "./ScoreCommitments.sol";
import {ScorePolicies} from "./ScorePolicies.sol";
import {ScoreRounds} from "./ScoreRounds.sol";
import {StepProofs} from "./StepProofs.sol";
import {VoteProofs} from "./VoteProofs.sol";

/**
 * @title The scores of one DAO's proposals, each with the Merkle root of the steps that led to it.
 * @notice A scorer submits a proposal's score once a round, after voting has ended. When `quorum` scorers have
 * submitted the same status, score and root in one round, they agree; once the time for challenges has passed, that
 * verdict is final and never changes (invariant S1). Later and differing submissions stay on the record.
 */
contract ProposalScores is ScoreChallenges, ScoreCommitments {
    /**
     * @dev Where a proposal stands. `startedAt` is zero while no round has begun. `until` is when the round times out,
     * when an agreement or a dispute may become final, or when the verdict became final. The verdict's fields are
     * those of the agreement; without one they are zero.
     */
    struct Course {
        Stage stage;
        uint32 round;
        uint48 startedAt;
        uint48 until;
        address scorer;
        uint8 status;
        int32 score;
        bytes32 root;
    }

    /// @dev `refusal` is the data with which `submitScore` would have reverted.
    event SubmissionSkipped(uint256 indexed proposalId, address indexed scorer, bytes refusal);

    error EmptyBatch();
    error NothingTaken(bytes[] refusals);

    /**
     * @param dao_ The DAO; it must answer `clock()`.
     * @param admin Holder of the default admin role: grants scorers, registers policies, pauses, resolves.
     * @param adminDelay Seconds between the start and the acceptance of a change of admin.
     * @param quorum_ Scorers that must agree, above zero.
     * @param challengeWindow_ Seconds in which an agreed verdict may be challenged; zero: it is final at once.
     * @param rules_ The rules of rounds, bonds and commitments.
     */
    constructor(
        IScoredDao dao_,
        address admin,
        uint48 adminDelay,
        uint32 quorum_,
        uint48 challengeWindow_,
        Rules memory rules_
    )
        AccessControlDefaultAdminRules(adminDelay, admin)
        ScorePolicies(dao_)
        ScoreRounds(quorum_, challengeWindow_, rules_)
        ScoreChallenges(rules_)
        ScoreCommitments(rules_)
    {}

    // ---- Submitting ------------------------------------------------------------------------------------------------

    /**
     * @notice Submits the sender's verdict on one proposal.
     * @param status 1 scored, 2 no counted votes for or against.
     * @param score Signed basis points; zero with status 2.
     * @param root Root of the Merkle tree of the committed steps.
     * @param policy Hash of the policy under which it was made; what {policyOf} answers, or it is refused.
     */
    function submitScore(uint256 proposalId, uint8 status, int32 score, bytes32 root, bytes32 policy) external {
        _submitOpenly(Submission(proposalId, status, score, root, policy));
    }

    /// @notice Submits a verdict that names no policy: it is taken where none binds the proposal.
    function submitScore(uint256 proposalId, uint8 status, int32 score, bytes32 root) external {
        _submitOpenly(Submission(proposalId, status, score, root, bytes32(0)));
    }

    /**
     * @notice Submits several verdicts. One that cannot be taken is skipped and reported, the others are taken; if
     * none can be, the call reverts with all the reasons.
     * @return refusals One for each verdict, as `submitScore` would have reverted; empty where it was taken.
     */
    function submitScores(
        Submission[] calldata submissions
    ) external whenNotPaused returns (bytes[] memory refusals) {
        _checkOpenSubmission();
        if (submissions.length == 0) revert EmptyBatch();
        refusals = new bytes[](submissions.length);
        uint256 skipped = 0;
        for (uint256 i = 0; i < submissions.length; ++i) {
            Submission memory submission = submissions[i];
            refusals[i] = _refusalOf(submission);
            if (refusals[i].length == 0) {
                _take(submission);
            } else {
                ++skipped;
                emit SubmissionSkipped(submission.proposalId, msg.sender, refusals[i]);
            }
        }
        if (skipped == submissions.length) revert NothingTaken(refusals);
    }

    function _submitOpenly(Submission memory submission) private whenNotPaused {
        _checkOpenSubmission();
        _submit(submission);
    }

    // ---- Reading ---------------------------------------------------------------------------------------------------

    /// @notice The final verdict; reverts while there is none, so that nobody mistakes "not yet" for a score of zero.
    function scoreOf(
        uint256 proposalId
    ) external view returns (uint8 status, int32 score, bytes32 root, uint32 round, uint48 finalizedAt) {
        Agreement memory agreement = _agreements[proposalId];
        Record storage verdict = _finalRecord(proposalId);
        return (verdict.status, verdict.score, verdict.root, agreement.round, agreement.reachedAt);
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

    /// @notice Where a proposal stands between its vote and its final verdict.
    function courseOf(uint256 proposalId) external view returns (Course memory course) {
        Agreement memory agreement = _agreements[proposalId];
        course.stage = agreement.stage;
        course.round = roundOf(proposalId);
        course.startedAt = _rounds[proposalId].startedAt;
        if (agreement.stage == Stage.Open) {
            if (course.startedAt != 0) course.until = course.startedAt + roundWindow;
            return course;
        }
        Record storage verdict = _records[proposalId][agreement.round][agreement.scorer];
        course.until = agreement.stage == Stage.Final ? agreement.reachedAt : _settledAt(agreement);
        (course.scorer, course.status, course.score) = (agreement.scorer, verdict.status, verdict.score);
        course.root = verdict.root;
    }

    // ---- Proofs ----------------------------------------------------------------------------------------------------

    /// @notice Whether a step is a leaf of the final root. Reverts while the proposal has no final verdict.
    function verifyStep(
        uint256 proposalId,
        bytes32[] calldata proof,
        StepProofs.Step calldata step
    ) external view returns (bool) {
        return StepProofs.verify(_finalRecord(proposalId).root, domainOf(proposalId), proof, step);
    }

    /// @notice Whether a step is a leaf of the root that a scorer submitted, which may never become final.
    function verifySubmittedStep(
        uint256 proposalId,
        uint32 round,
        address scorer,
        bytes32[] calldata proof,
        StepProofs.Step calldata step
    ) external view returns (bool) {
        return StepProofs.verify(_records[proposalId][round][scorer].root, domainOf(proposalId), proof, step);
    }

    /**
     * @notice Whether a vote was treated as its leaf says: counted with a weight, or left out and why. Reverts while
     * the proposal has no final verdict.
     * @param verdict The step that made the verdict, with the root of the tree of votes in its output.
     * @param proof The vote's path in the tree of votes.
     */
    function verifyVoter(
        uint256 proposalId,
        VoteProofs.Verdict calldata verdict,
        bytes32[] calldata proof,
        VoteProofs.Vote calldata vote
    ) external view returns (bool) {
        return VoteProofs.verify(_finalRecord(proposalId).root, domainOf(proposalId), verdict, proof, vote);
    }

    /// @notice The same for several votes with one multi-proof of OpenZeppelin's.
    function verifyVoters(
        uint256 proposalId,
        VoteProofs.Verdict calldata verdict,
        bytes32[] calldata proof,
        bool[] calldata proofFlags,
        VoteProofs.Vote[] calldata votes
    ) external view returns (bool) {
        bytes32 root = _finalRecord(proposalId).root;
        return VoteProofs.verifyMany(root, domainOf(proposalId), verdict, proof, proofFlags, votes);
    }

    // ---- Emergency stop --------------------------------------------------------------------------------------------

    /// @notice Stops submissions and finality; what is final stays final and readable.
    function pause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _pause();
    }

    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }
}
