// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

interface IPriorVotes {
    function getPriorVotes(address account, uint256 blockNumber) external view returns (uint96);
}

/**
 * @title Governor Bravo as it is seen from outside: its functions, storage getters, events and rules of time.
 * @dev Written for the tests. Timelock, signatures and configuration by votes are left out.
 */
contract BravoGovernor {
    enum ProposalState {
        Pending,
        Active,
        Canceled,
        Defeated,
        Succeeded,
        Queued,
        Expired,
        Executed
    }

    /// @dev The public getter answers ten words: all but the mapping and the arrays.
    struct Proposal {
        uint256 id;
        address proposer;
        uint256 eta;
        uint256 startBlock;
        uint256 endBlock;
        uint256 forVotes;
        uint256 againstVotes;
        uint256 abstainVotes;
        bool canceled;
        bool executed;
        mapping(address voter => Receipt) receipts;
    }

    struct Receipt {
        bool hasVoted;
        uint8 support;
        uint96 votes;
    }

    // solhint-disable-next-line const-name-snakecase
    string public constant name = "Test Governor Bravo";
    bytes32 public constant BALLOT_TYPEHASH = keccak256("Ballot(uint256 proposalId,uint8 support)");
    uint256 public constant quorumVotes = 100;

    address public immutable admin;
    IPriorVotes public immutable comp;
    uint256 public immutable votingDelay;
    uint256 public immutable votingPeriod;
    uint256 public proposalCount;
    mapping(uint256 proposalId => Proposal) public proposals;

    event ProposalCreated(
        uint256 id,
        address proposer,
        address[] targets,
        uint256[] values,
        string[] signatures,
        bytes[] calldatas,
        uint256 startBlock,
        uint256 endBlock,
        string description
    );
    event VoteCast(address indexed voter, uint256 proposalId, uint8 support, uint256 votes, string reason);
    event ProposalCanceled(uint256 id);
    event ProposalQueued(uint256 id, uint256 eta);
    event ProposalExecuted(uint256 id);

    constructor(IPriorVotes comp_, address admin_, uint256 delay, uint256 period) {
        comp = comp_;
        admin = admin_;
        votingDelay = delay;
        votingPeriod = period;
    }

    function propose(
        address[] memory targets,
        uint256[] memory values,
        string[] memory signatures,
        bytes[] memory calldatas,
        string memory description
    ) external returns (uint256 id) {
        id = ++proposalCount;
        Proposal storage made = proposals[id];
        made.id = id;
        made.proposer = msg.sender;
        made.startBlock = block.number + votingDelay;
        made.endBlock = made.startBlock + votingPeriod;
        emit ProposalCreated(
            id,
            msg.sender,
            targets,
            values,
            signatures,
            calldatas,
            made.startBlock,
            made.endBlock,
            description
        );
    }

    function castVote(uint256 proposalId, uint8 support) external {
        emit VoteCast(msg.sender, proposalId, support, _vote(msg.sender, proposalId, support), "");
    }

    function castVoteWithReason(uint256 proposalId, uint8 support, string calldata reason) external {
        emit VoteCast(msg.sender, proposalId, support, _vote(msg.sender, proposalId, support), reason);
    }

    function queue(uint256 proposalId) external {
        require(state(proposalId) == ProposalState.Succeeded, "GovernorBravo::queue: not succeeded");
        proposals[proposalId].eta = block.timestamp;
        emit ProposalQueued(proposalId, block.timestamp);
    }

    function execute(uint256 proposalId) external payable {
        require(state(proposalId) == ProposalState.Queued, "GovernorBravo::execute: not queued");
        proposals[proposalId].executed = true;
        emit ProposalExecuted(proposalId);
    }

    function cancel(uint256 proposalId) external {
        require(state(proposalId) != ProposalState.Executed, "GovernorBravo::cancel: cannot cancel executed proposal");
        require(msg.sender == proposals[proposalId].proposer, "GovernorBravo::cancel: proposer above threshold");
        proposals[proposalId].canceled = true;
        emit ProposalCanceled(proposalId);
    }

    function getReceipt(uint256 proposalId, address voter) external view returns (Receipt memory) {
        return proposals[proposalId].receipts[voter];
    }

    function state(uint256 proposalId) public view returns (ProposalState) {
        require(proposalCount >= proposalId && proposalId > 0, "GovernorBravo::state: invalid proposal id");
        Proposal storage seen = proposals[proposalId];
        if (seen.canceled) return ProposalState.Canceled;
        if (block.number <= seen.startBlock) return ProposalState.Pending;
        if (block.number <= seen.endBlock) return ProposalState.Active;
        if (seen.forVotes <= seen.againstVotes || seen.forVotes < quorumVotes) return ProposalState.Defeated;
        if (seen.eta == 0) return ProposalState.Succeeded;
        return seen.executed ? ProposalState.Executed : ProposalState.Queued;
    }

    function _vote(address voter, uint256 proposalId, uint8 support) private returns (uint96 votes) {
        require(state(proposalId) == ProposalState.Active, "GovernorBravo::castVoteInternal: voting is closed");
        require(support <= 2, "GovernorBravo::castVoteInternal: invalid vote type");
        Proposal storage voted = proposals[proposalId];
        Receipt storage receipt = voted.receipts[voter];
        require(!receipt.hasVoted, "GovernorBravo::castVoteInternal: voter already voted");
        votes = comp.getPriorVotes(voter, voted.startBlock);
        if (support == 0) voted.againstVotes += votes;
        else if (support == 1) voted.forVotes += votes;
        else voted.abstainVotes += votes;
        receipt.hasVoted = true;
        receipt.support = support;
        receipt.votes = votes;
    }
}
