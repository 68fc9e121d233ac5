// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC6372Utils} from "@openzeppelin/contracts/utils/ERC6372Utils.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IScoredDao} from "./IScoredDao.sol";

/**
 * @title A DAO whose members vote with a reputation that cannot be transferred.
 * @notice Reads and events follow OpenZeppelin's Governor wherever it has one of the same meaning, so that a reader of
 * Governors reads this contract too. Weights are taken at the proposal's snapshot, which is the timepoint of its
 * creation; a vote may be cast while `snapshot < clock() <= deadline`, so no vote can be cast in the timepoint in
 * which the weights may still change.
 */
contract ReputationDao is AccessControl, IScoredDao {
    using Checkpoints for Checkpoints.Trace208;

    /// @dev What `clock()` counts. Chosen once, at deployment.
    enum ClockUnit {
        BlockNumber,
        Timestamp
    }

    /// @dev The first five states of OpenZeppelin's IGovernor.ProposalState, with its ordinals.
    enum ProposalState {
        Pending,
        Active,
        Canceled,
        Defeated,
        Succeeded
    }

    /// @dev The order of Governor's simple counting and of Bravo.
    enum VoteType {
        Against,
        For,
        Abstain
    }

    struct Proposal {
        address proposer;
        uint48 snapshot;
        bool canceled;
        bytes32 contentHash;
        uint256 againstVotes;
        uint256 forVotes;
        uint256 abstainVotes;
        mapping(address voter => bool) hasVoted;
    }

    /// @notice How long a proposal may be voted on, in the unit of `clock()`.
    uint48 public immutable votingPeriod;

    /// @notice The number of proposals ever made; ids run from 1 to this number.
    uint256 public proposalCount;

    ClockUnit private immutable _clockUnit;
    mapping(uint256 proposalId => Proposal) private _proposals;
    mapping(address voter => Checkpoints.Trace208) private _reputations;
    Checkpoints.Trace208 private _totalReputation;

    event ProposalCreated(uint256 indexed proposalId, bytes32 contentHash, address proposer);
    event ProposalCanceled(uint256 proposalId);
    event VoteCast(address indexed voter, uint256 proposalId, uint8 support, uint256 weight, string reason);
    event ReputationSet(address indexed voter, uint256 previousReputation, uint256 reputation);

    error InvalidAdmin(address admin);
    error InvalidVotingPeriod(uint48 votingPeriod);
    error InvalidContentHash();
    error InvalidVoter(address voter);
    error BatchLengthMismatch(uint256 voters, uint256 amounts);
    error ERC5805FutureLookup(uint256 timepoint, uint48 clock);
    error NonexistentProposal(uint256 proposalId);
    error VotingClosed(uint256 proposalId, ProposalState state);
    error InvalidSupport(uint8 support);
    error AlreadyVoted(uint256 proposalId, address voter);
    error NoReputation(address voter, uint256 snapshot);
    error CancelRefused(uint256 proposalId, address account, ProposalState state);

    /**
     * @param admin Holder of DEFAULT_ADMIN_ROLE: sets reputations and may cancel any proposal.
     * @param votingPeriod_ Length of a vote in the unit of the clock, above zero.
     * @param clockUnit Whether the clock counts blocks or seconds.
     */
    constructor(address admin, uint48 votingPeriod_, ClockUnit clockUnit) {
        if (admin == address(0)) revert InvalidAdmin(admin);
        if (votingPeriod_ == 0) revert InvalidVotingPeriod(votingPeriod_);
        votingPeriod = votingPeriod_;
        _clockUnit = clockUnit;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    // ---- Clock -----------------------------------------------------------------------------------------------------

    /// @notice The current timepoint, in blocks or seconds.
    function clock() public view returns (uint48) {
        return _clockUnit == ClockUnit.Timestamp ? Time.timestamp() : Time.blockNumber();
    }

    /// @notice What the clock counts, as ERC-6372 words it.
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external view returns (string memory) {
        return
            _clockUnit == ClockUnit.Timestamp
                ? ERC6372Utils.timestampClockMode(clock())
                : ERC6372Utils.blockNumberClockMode(clock());
    }

    /// @notice Votes are against, for or abstain; there is no quorum, so none is named.
    // solhint-disable-next-line func-name-mixedcase
    function COUNTING_MODE() external pure returns (string memory) {
        return "support=bravo";
    }

    // ---- Reputation ------------------------------------------------------------------------------------------------

    /**
     * @notice Sets the reputation of each voter from this timepoint on; where a voter stands twice, the last counts.
     * @dev All or nothing. The total is kept below 2^208 and refused beyond it.
     */
    function setReputations(
        address[] calldata voters,
        uint208[] calldata amounts
    ) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (voters.length != amounts.length) revert BatchLengthMismatch(voters.length, amounts.length);
        uint48 now_ = clock();
        uint256 total = _totalReputation.latest();
        for (uint256 i = 0; i < voters.length; ++i) {
            if (voters[i] == address(0)) revert InvalidVoter(voters[i]);
            (uint208 previous, uint208 current) = _reputations[voters[i]].push(now_, amounts[i]);
            total = total - previous + current;
            emit ReputationSet(voters[i], previous, current);
        }
        _totalReputation.push(now_, SafeCast.toUint208(total));
    }

    /// @notice The voter's reputation now.
    function getVotes(address voter) external view returns (uint256) {
        return _reputations[voter].latest();
    }

    /// @notice The voter's reputation at the end of a past timepoint.
    function getPastVotes(address voter, uint256 timepoint) public view returns (uint256) {
        return _reputations[voter].upperLookupRecent(_past(timepoint));
    }

    /// @notice The sum of all reputations at the end of a past timepoint.
    function getPastTotalSupply(uint256 timepoint) external view returns (uint256) {
        return _totalReputation.upperLookupRecent(_past(timepoint));
    }

    // ---- Proposals -------------------------------------------------------------------------------------------------

    /// @notice Opens a vote on a content, known by its hash. Anyone may propose.
    function propose(bytes32 contentHash) external returns (uint256 proposalId) {
        if (contentHash == bytes32(0)) revert InvalidContentHash();
        proposalId = ++proposalCount;
        Proposal storage proposal = _proposals[proposalId];
        proposal.proposer = msg.sender;
        proposal.snapshot = clock();
        proposal.contentHash = contentHash;
        emit ProposalCreated(proposalId, contentHash, msg.sender);
    }

    /**
     * @notice Casts the sender's vote with the reputation held at the snapshot. There is no vote on another's behalf.
     * @param support 0 against, 1 for, 2 abstain.
     */
    function castVote(uint256 proposalId, uint8 support) external returns (uint256 weight) {
        Proposal storage proposal = _existing(proposalId);
        ProposalState current = _stateOf(proposal);
        if (current != ProposalState.Active) revert VotingClosed(proposalId, current);
        if (proposal.hasVoted[msg.sender]) revert AlreadyVoted(proposalId, msg.sender);
        weight = getPastVotes(msg.sender, proposal.snapshot);
        if (weight == 0) revert NoReputation(msg.sender, proposal.snapshot);
        proposal.hasVoted[msg.sender] = true;
        if (support == uint8(VoteType.Against)) proposal.againstVotes += weight;
        else if (support == uint8(VoteType.For)) proposal.forVotes += weight;
        else if (support == uint8(VoteType.Abstain)) proposal.abstainVotes += weight;
        else revert InvalidSupport(support);
        emit VoteCast(msg.sender, proposalId, support, weight, "");
    }

    /**
     * @notice Withdraws a proposal. Its proposer may do so until voting ends, which keeps a lost vote on the record;
     * the admin may do so at any time.
     */
    function cancel(uint256 proposalId) external {
        Proposal storage proposal = _existing(proposalId);
        ProposalState current = _stateOf(proposal);
        bool open = current == ProposalState.Pending || current == ProposalState.Active;
        bool permitted = (open && msg.sender == proposal.proposer) || hasRole(DEFAULT_ADMIN_ROLE, msg.sender);
        if (!permitted || current == ProposalState.Canceled) revert CancelRefused(proposalId, msg.sender, current);
        proposal.canceled = true;
        emit ProposalCanceled(proposalId);
    }

    /// @inheritdoc IScoredDao
    function state(uint256 proposalId) external view returns (uint8) {
        return uint8(_stateOf(_existing(proposalId)));
    }

    /// @inheritdoc IScoredDao
    function proposalSnapshot(uint256 proposalId) external view returns (uint256) {
        return _existing(proposalId).snapshot;
    }

    /// @notice The last timepoint in which a vote may be cast; voting has ended when `clock()` is beyond it.
    function proposalDeadline(uint256 proposalId) external view returns (uint256) {
        return _deadline(_existing(proposalId));
    }

    function proposalProposer(uint256 proposalId) external view returns (address) {
        return _existing(proposalId).proposer;
    }

    function proposalContentHash(uint256 proposalId) external view returns (bytes32) {
        return _existing(proposalId).contentHash;
    }

    function proposalVotes(
        uint256 proposalId
    ) external view returns (uint256 againstVotes, uint256 forVotes, uint256 abstainVotes) {
        Proposal storage proposal = _existing(proposalId);
        return (proposal.againstVotes, proposal.forVotes, proposal.abstainVotes);
    }

    function hasVoted(uint256 proposalId, address voter) external view returns (bool) {
        return _existing(proposalId).hasVoted[voter];
    }

    // ---- Inner -----------------------------------------------------------------------------------------------------

    function _existing(uint256 proposalId) private view returns (Proposal storage proposal) {
        proposal = _proposals[proposalId];
        if (proposal.proposer == address(0)) revert NonexistentProposal(proposalId);
    }

    function _deadline(Proposal storage proposal) private view returns (uint256) {
        return uint256(proposal.snapshot) + votingPeriod;
    }

    function _stateOf(Proposal storage proposal) private view returns (ProposalState) {
        if (proposal.canceled) return ProposalState.Canceled;
        uint48 now_ = clock();
        if (now_ <= proposal.snapshot) return ProposalState.Pending;
        if (now_ <= _deadline(proposal)) return ProposalState.Active;
        return proposal.forVotes > proposal.againstVotes ? ProposalState.Succeeded : ProposalState.Defeated;
    }

    /// @dev A timepoint that can no longer change.
    function _past(uint256 timepoint) private view returns (uint48) {
        uint48 now_ = clock();
        if (timepoint >= now_) revert ERC5805FutureLookup(timepoint, now_);
        return uint48(timepoint);
    }
}
