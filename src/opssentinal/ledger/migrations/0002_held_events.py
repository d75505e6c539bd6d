"""The tables of held events."""

from django.db import migrations

from opssentinal.ledger.tables import create_held_tables, drop_held_tables


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunPython(create_held_tables, drop_held_tables)]
