"""The ledger's tables. Plain SQL: they are rows of bytes that only the ledger reads, never objects of the ORM."""

from django.db import migrations

from opssentinal.ledger.tables import create_tables, drop_tables


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunPython(create_tables, drop_tables)]
