"""Stock alerts: which products sell out before new goods can come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.guard import GuardedRoute, needs
from api.schemas.questions import StockAlertsOut
from api.service import Serving, Viewed
from racing.inquiries import AskStock

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

_ALERTS_S = 10.0


@router.get("/{venue}/stock-alerts", operation_id="listStockAlerts", response_model=StockAlertsOut)
@needs("operate")
async def list_stock_alerts(
    view: Viewed,
    service: Serving,
    safety_stock: Annotated[int, Query(ge=0, le=10**9, description="pieces that are to be left when goods come")] = 0,
    lead_time_s: Annotated[int, Query(ge=0, le=31_536_000, description="from ordering stock to having it")] = 86_400,
    limit: Annotated[int, Query(ge=1, le=1000, description="alerts told; of others the number")] = 50,
) -> Response:
    """Products with stock <= safety stock + velocity x lead time, the first to sell out first."""
    question = AskStock(view.venue.venue, safety_stock, lead_time_s, limit)
    found = await service.followers().now.ask(question, within_s=_ALERTS_S)
    return Response(found, media_type="application/json", headers={"Cache-Control": "private, no-store"})
