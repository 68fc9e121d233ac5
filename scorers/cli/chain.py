"""`dao-scorer chain` and `dao-scorer deploy`: a local chain, and the contracts on any chain."""

from __future__ import annotations

from typing import Annotated

import typer

from contracts.deployment import deploy_dao
from contracts.direct import DirectSender
from scorers import composition
from scorers.cli import options, output, terms
from scorers.cli.flags import configured
from scorers.cli.session import command
from scorers.ready import announce
from scorers.settings import Settings

VOTING_PERIOD_S = 3 * 86_400


@command
async def chain(
    port: Annotated[int, typer.Option(help="Port to bind; 0 takes a free one.")] = 8545,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    chain_id: Annotated[int, typer.Option(help="The chain's id.")] = 31337,
    accounts: Annotated[int, typer.Option(min=1, max=1000, help="Funded development accounts.")] = 10,
    finality_lag: Annotated[int, typer.Option(min=0, help="Blocks from the head to `finalized`.")] = 0,
    block_time: Annotated[float | None, typer.Option(help="Also mine a block every so many seconds.")] = None,
    timestamp: Annotated[int | None, typer.Option(help="Unix time of the first block.")] = None,
) -> None:
    """Run a local chain (eth-tester and py-evm) for any web3 client."""
    try:
        from hardhat_free_chain import ChainSettings, deterministic_accounts, serve  # noqa: PLC0415 - an extra
    except ImportError as error:
        output.fail(f"the local chain is not installed ({error.name}): pip install 'dao-scorer[chain]'")
    settings = ChainSettings(
        chain_id=chain_id,
        accounts=accounts,
        finality_lag=finality_lag,
        block_interval_s=block_time,
        base_timestamp=timestamp,
    )
    if output.out.is_terminal:
        rows = deterministic_accounts(accounts)
        output.table("funded accounts (public development keys)", ("address", "private key"), rows)
    await serve(settings, host, port, lambda server: announce(server.url))


@configured("rpc", "chain_id", "keystore", "keystore_password_file")
async def deploy(
    settings: Settings,
    voting_period: Annotated[
        int, typer.Option(min=1, help="Seconds that a proposal can be voted on.")
    ] = VOTING_PERIOD_S,
    admin_delay: Annotated[int, typer.Option(min=0, help="Seconds before a new admin may take over.")] = 0,
    scorer: Annotated[
        list[str] | None, typer.Option(help="Address that may submit scores; by default the deployer.")
    ] = None,
    quorum: terms.Quorum = 1,
    rounds: terms.RoundsMax = 1,
    round_window: terms.RoundWindow = "0",
    commit_window: terms.CommitWindow = "0",
    challenge_window: terms.ChallengeWindow = "0",
    bond: terms.Bond = "0",
    bond_receiver: terms.BondReceiver = None,
    as_json: options.AsJson = False,
) -> None:
    """Deploy a ReputationDao and its registry. The account that signs is their admin."""
    signer = composition.signer_of(settings)
    agreed = terms.terms_of(
        quorum=quorum,
        rounds=rounds,
        windows=(
            terms.seconds(round_window, "--round-window"),
            terms.seconds(commit_window, "--commit-window"),
            terms.seconds(challenge_window, "--challenge-window"),
        ),
        bond=bond,
        receiver=bond_receiver or signer.address,
    )
    async with composition.node_of(settings) as node:
        sender = DirectSender(node, signer, await node.chain_id())
        deployed = await deploy_dao(
            sender,
            voting_period=voting_period,
            scorers=scorer or [signer.address],
            admin_delay_s=admin_delay,
            terms=agreed,
        )
    if as_json:
        output.emit(deployed)
        return
    output.record(
        "deployed", {"dao": deployed.dao, "registry": deployed.registry, "block": deployed.block_number}
    )
    output.say(
        f"now: dao-scorer up --rpc {settings.rpc} --dao {deployed.dao} --registry {deployed.registry}"
        f" --start-block {deployed.block_number}"
    )
